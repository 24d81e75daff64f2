{#- dbt run-operation table_health [--args '{schema: gold}'] -#}
{%- macro table_health(schema=none) -%}
    {%- set rows = [] -%}
    {%- for relation in delta_tables(schema) -%}
        {%- set detail = table_detail(relation) -%}
        {%- set small -%}
            select count(*) as files
            from (select distinct _metadata.file_path, _metadata.file_size as bytes from {{ relation }})
            where bytes < {{ var('small_file_bytes') }}
        {%- endset -%}
        {%- set last = run_query('describe history ' ~ relation ~ ' limit 1').rows[0] -%}
        {%- do rows.append([
            relation,
            detail.files,
            human_bytes(detail.bytes),
            run_query(small).rows[0][0] | int,
            last['version'] | int + 1,
            utc_text(last['timestamp'])[:19],
            last['operation'],
        ]) -%}
    {%- endfor -%}
    {%- do log_table(
        ['table', 'files', 'size', 'small files', 'versions', 'last write (UTC)', 'by'], rows
    ) -%}
{%- endmacro -%}
