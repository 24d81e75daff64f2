{#- dbt-spark ignores `clustered_by` without `buckets`, and Delta refuses buckets
    (tests/adapter/test_clustered_by.py): the columns become liquid clustering. -#}
{%- macro spark__clustered_cols(label, required=false) -%}
    {%- set columns = config.get('clustered_by') -%}
    {%- if columns -%}
        cluster by ({{ ([columns] if columns is string else columns) | join(', ') }})
    {%- endif -%}
{%- endmacro -%}
