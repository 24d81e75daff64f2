{#- Whether a day is at most so many days away from the rows of an input that this model has not
    merged yet. The first and last of their days are printed as literals: only those let Delta skip
    files. True for all in a first build or full refresh. Unit tests replace it. -#}
{%- macro is_near_news(input, column, days, cursor='_batch_id') -%}
    {%- if execute and is_incremental() -%}
        {%- set query -%}
            select
                cast(date_sub(min({{ column }}), {{ days }}) as string) as first_day,
                cast(date_add(max({{ column }}), {{ days }}) as string) as last_day
            from {{ ref(input) }}
            where {{ is_new('_batch_id', cursor) }}
        {%- endset -%}
        {%- set extent = run_query(query).rows[0] -%}
        {%- if extent[0] is none -%}
            false
        {%- else -%}
            {{ column }} between date'{{ extent[0] }}' and date'{{ extent[1] }}'
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}
