{#- The rows of an input that this model has not merged yet: the cursor is a column of the
    model's own rows, so it is committed with them and cannot skip. Printed as a literal,
    because only a literal lets Delta skip the files of old batches. -#}
{%- macro is_new(column, cursor='_batch_id') -%}
    {%- if is_incremental() -%}
        {{ column }} > {{ last_batch_id(cursor) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}
